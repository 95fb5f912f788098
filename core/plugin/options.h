/* The option getters of clv_host; see conclave/plugin.h. */
#ifndef CLVI_OPTIONS_H
#define CLVI_OPTIONS_H

#include <conclave/plugin.h>

/* Each gives the value of a key that the plugin declares with that type (text: also a choice).
 * Errors: CLV_E_INTERNAL. Text and lists live as long as the options. */
clv_status clvi_option_bool(const clv_options *o, const char *key, bool *out, clv_error *error);
clv_status clvi_option_int(const clv_options *o, const char *key, int64_t *out, clv_error *error);
clv_status clvi_option_real(const clv_options *o, const char *key, double *out, clv_error *error);
clv_status clvi_option_text(const clv_options *o, const char *key, const char **out,
                            clv_error *error);
clv_status clvi_option_ints(const clv_options *o, const char *key, const int64_t **out,
                            uint32_t *count, clv_error *error);
clv_status clvi_option_reals(const clv_options *o, const char *key, const double **out,
                             uint32_t *count, clv_error *error);

#endif
