/* See run_report.h. */
#include "run_report.h"

#include "base/process.h"
#include "report/run_page.h"
#include "report/tensorboard.h"
#include "train/run_dir.h"
#include "train/settings.h"

/* The images of the run's mistakes; of a run that has not ended there are none to be shown. */
static clv_status open_data(const char *run, clvi_dataset **data, clv_error *error)
{
    clvi_config *config;
    if (!clvi_has_file(run, CLVI_RUN_PREDICTIONS))
        return CLV_OK;
    CLV_TRY(clvi_run_config(run, &config, error));
    const clvi_data_options options = clvi_train_data_options(config);
    const clv_status status = clvi_dataset_open(&options, data, error);
    clvi_config_destroy(config);
    return status;
}

clv_status cli_write_report(const char *run, clvi_dataset *data, char **path, clv_error *error)
{
    clvi_dataset *opened = NULL;
    clv_error fault = CLV_ERROR_INIT;
    clvi_text page = {0};
    if (data == NULL && open_data(run, &opened, &fault) == CLV_E_MEMORY)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", fault.message);
    const clvi_run_page_desc desc = {.run = run,
                                     .data = data != NULL ? data : opened,
                                     .no_data = fault.message[0] != '\0' ? fault.message : NULL};
    clv_status status = clvi_run_page(&desc, &page, error);
    clvi_dataset_close(opened);
    char *file = clvi_path_join(run, CLVI_RUN_REPORT);
    if (status == CLV_OK && file == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the name of a report");
    if (status == CLV_OK)
        status = clvi_file_write(file, page.data, page.length, error);
    clvi_text_fini(&page);
    if (status == CLV_OK && path != NULL) {
        *path = file;
        return CLV_OK;
    }
    clvi_free(file);
    return status;
}

clv_status cli_write_events(const char *run, clvi_dataset *data, char **folder, clv_error *error)
{
    clvi_dataset *opened = NULL;
    clvi_tensorboard *board = NULL;
    clv_error fault = CLV_ERROR_INIT;
    CLV_TRY(clvi_tensorboard_check(error));
    if (data == NULL && open_data(run, &opened, &fault) == CLV_E_MEMORY)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", fault.message);
    if (fault.message[0] != '\0')
        clvi_log(CLVI_LOG_WARN, "the events have no images of mistakes: %s", fault.message);
    clv_status status = clvi_tensorboard_create(run, &board, error);
    if (status == CLV_OK)
        status = clvi_tensorboard_finish(board, data != NULL ? data : opened, error);
    clvi_tensorboard_destroy(board);
    clvi_dataset_close(opened);
    if (status != CLV_OK)
        return status;
    *folder = clvi_path_join(run, CLVI_RUN_TENSORBOARD);
    if (*folder == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the name of a folder");
    return CLV_OK;
}
