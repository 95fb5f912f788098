/* Says what pictures show: classify MODEL IMAGE... where MODEL is a run's folder or a bundle. */
#include <conclave/conclave.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    clv_error error = CLV_ERROR_INIT;
    clv_model *model = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE...\n", argv[0]);
        return 2;
    }
    clv_status status = clv_model_open(argv[1], NULL, &model, &error);
    for (int i = 2; i < argc && status == CLV_OK; i++) {
        const clv_image image = clv_image_of_file(argv[i]);
        const double *chances = NULL;
        clv_result *result = NULL;
        size_t best = 0;
        status = clv_model_classify(model, &image, 1, &result, &error);
        if (status == CLV_OK)
            status = clv_result_top(result, 0, 1, &best, &error);
        if (status == CLV_OK)
            status = clv_result_probabilities(result, 0, &chances, &error);
        if (status == CLV_OK)
            printf("%6.2f %%  %s  %s\n", 100 * chances[best], clv_model_class_name(model, best),
                   argv[i]);
        clv_result_destroy(result);
    }
    if (status != CLV_OK)
        fprintf(stderr, "%s\n", error.message);
    clv_model_close(model);
    return clv_status_exit_code(status);
}
