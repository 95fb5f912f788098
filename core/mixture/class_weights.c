/* See class_weights.h. */
#include "mixture/class_weights.h"

static const char section[] = "loss", key[] = "class_weights";

static void balance(int classes, const int64_t *counts, float *weights)
{
    int64_t all = 0;
    for (int c = 0; counts && c < classes; c++)
        all += counts[c];
    for (int c = 0; c < classes; c++)
        weights[c] = counts && counts[c] > 0
                         ? (float)((double)all / ((double)classes * (double)counts[c]))
                         : 1.0f;
}

/* Reads "1, 2, 0.5" of exactly `classes` numbers. */
static clv_status read_list(const clvi_config *config, const char *text, int classes,
                            float *weights, clv_error *error)
{
    int count = 0;
    bool good = true, any = false;
    for (const char *at = text; good;) {
        char word[64];
        double value = 0;
        const size_t length = strcspn(at, ",");
        good = length < sizeof word;
        if (good) {
            memcpy(word, at, length);
            word[length] = '\0';
            good = clvi_parse_real(word, &value) && value >= 0 && value <= 1e30;
        }
        if (good && count < classes)
            weights[count] = (float)value;
        any |= good && value > 0;
        count++;
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    if (!good || !any)
        return clvi_config_fail(
            config, section, key, error,
            "'%s' is neither none nor balanced nor a list of numbers from 0 on, "
            "not all 0, such as 1, 2, 0.5",
            text);
    if (count != classes)
        return clvi_config_fail(config, section, key, error,
                                "there are %d weights and %d classes; give one for each, in the "
                                "order of the classes' names",
                                count, classes);
    return CLV_OK;
}

clv_status clvi_class_weights(const clvi_config *config, int classes, const int64_t *counts,
                              float **out, clv_error *error)
{
    const char *text = clvi_config_text(config, section, key);
    const bool balanced = clvi_name_equal(text, "balanced");
    if (clvi_name_equal(text, "none")) {
        *out = NULL;
        return CLV_OK;
    }
    float *weights = clvi_calloc((size_t)classes, sizeof *weights);
    if (!weights)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the weights of %d classes", classes);
    clv_status status = CLV_OK;
    if (balanced)
        balance(classes, counts, weights);
    else
        status = read_list(config, text, classes, weights, error);
    if (status != CLV_OK) {
        clvi_free(weights);
        return status;
    }
    *out = weights;
    return CLV_OK;
}
