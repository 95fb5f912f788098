/* The model of a call, as core/export takes it. */
#include "export.h"

#include "base/process.h"

static const char *class_name(const void *model, size_t index)
{
    return clvi_model_class_name(model, index);
}

static clv_status read_segment(const void *model, size_t segment, float *out, clv_error *error)
{
    return clvi_model_read(model, segment, out, error);
}

clv_status export_source(export_job *job, clvi_export_source *out, clv_error *error)
{
    clvi_model *model = job->model;
    if (clvi_model_mixture(model) == NULL)
        CLV_TRY(clvi_model_draft(model, job->session.plugins, error));
    *out = (clvi_export_source){.mixture = clvi_model_mixture(model),
                                .config = clvi_model_config(model),
                                .temperature = clvi_model_temperature(model),
                                .steps = clvi_model_step(model),
                                .class_count = clvi_model_class_count(model),
                                .class_name = class_name,
                                .read = read_segment,
                                .user = model};
    clvi_model_image(model, &out->height, &out->width, &out->channels);
    return CLV_OK;
}

void export_tell_calibration(const export_job *job)
{
    if (clvi_model_temperature(job->model) <= 0)
        clvi_log(CLVI_LOG_WARN,
                 "%s: its probabilities are not calibrated: that is done at the end "
                 "of a training, for its best epoch",
                 job->run);
}
