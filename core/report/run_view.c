/* See run_view.h. */
#include "report/run_view.h"

#include "train/run_dir.h"

enum { MOST_TEXT_BYTES = 64 << 20 };

void clvi_run_view_fini(clvi_run_view *v)
{
    clvi_sheet *const sheets[] = {&v->classes, &v->confusion, &v->usage,
                                  &v->weights, &v->signals,   &v->pairs};
    for (size_t i = 0; i < sizeof sheets / sizeof *sheets; i++)
        clvi_sheet_fini(sheets[i]);
    clvi_run_record_fini(&v->record);
    clvi_free(v->config);
    clvi_free(v->log);
    *v = (clvi_run_view){0};
}

/* *text stays NULL where there is no such file. */
static clv_status read_text(const char *run, const char *name, char **text, clv_error *error)
{
    size_t bytes;
    char *path = clvi_path_join(run, name);
    if (!path)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to read %s of %s", name, run);
    clv_status status = CLV_OK;
    if (clvi_is_file(path))
        status = clvi_file_read(path, MOST_TEXT_BYTES, text, &bytes, error);
    clvi_free(path);
    return status;
}

static clv_status read_all(const char *run, clvi_run_view *v, clv_error *error)
{
    const struct {
        const char *name;
        clvi_sheet *sheet;
    } sheets[] = {{CLVI_RUN_CLASSES, &v->classes}, {CLVI_RUN_CONFUSION, &v->confusion},
                  {CLVI_RUN_USAGE, &v->usage},     {CLVI_RUN_WEIGHTS, &v->weights},
                  {CLVI_RUN_SIGNALS, &v->signals}, {CLVI_RUN_PAIRS, &v->pairs}};
    CLV_TRY(clvi_run_record_read_some(run, &v->record, error));
    for (size_t i = 0; i < sizeof sheets / sizeof *sheets; i++)
        CLV_TRY(clvi_sheet_read(run, sheets[i].name, sheets[i].sheet, error));
    CLV_TRY(read_text(run, CLVI_RUN_CONFIG, &v->config, error));
    return read_text(run, CLVI_RUN_LOG, &v->log, error);
}

clv_status clvi_run_view_read(const char *run, clvi_run_view *out, clv_error *error)
{
    clvi_run_view v = {.run = run};
    const clv_status status = read_all(run, &v, error);
    if (status != CLV_OK) {
        clvi_run_view_fini(&v);
        return status;
    }
    *out = v;
    return CLV_OK;
}

const char *clvi_run_view_split(const clvi_run_view *v)
{
    return clvi_split_name(v->record.judged);
}

const json_t *clvi_run_view_experts(const clvi_run_view *v)
{
    return json_object_get(json_object_get(v->record.summary, "usage"), "experts");
}
