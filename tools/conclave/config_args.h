/* From what was typed to a configuration: the arguments and options that every subcommand which
 * takes a CONFIG has in common. */
#ifndef CONCLAVE_CONFIG_ARGS_H
#define CONCLAVE_CONFIG_ARGS_H

#include "command.h"
#include "config/config.h"

/* Rows for the options of such a subcommand. Short for section.key=value. */
/* clang-format off */
#define CLI_CONFIG_OPTIONS                                                                         \
    {"set", "SECTION.KEY=VALUE", "change a value of the configuration", 0, true},                  \
    {"data", "PATH", "folder or archive of images: data.path", 0, false},                          \
    {"epochs", "N", "passes over the images: train.epochs", 0, false},                             \
    {"batch", "N", "images per step: train.batch", 0, false},                                      \
    {"lr", "RATE", "learning rate: optimizer.lr", 0, false},                                       \
    {"image-size", "PIXELS", "side or HEIGHTxWIDTH: data.image_size", 0, false},                   \
    {"seed", "N", "random numbers: run.seed", 0, false},                                           \
    {"device", "DEVICE", "where to compute: device.select", 0, false},                             \
    {"output", "FOLDER", "folder of the runs: run.output", 'o', false}
/* clang-format on */

/* The changes that the arguments from index `from` on and the options above make,
 * "section.key=value", the last of equal ones counting. They lie in the arena. Errors:
 * CLV_E_MEMORY. */
clv_status cli_overrides(const cli_args *args, size_t from, clvi_arena *arena,
                         const char *const **out, size_t *count, clv_error *error) CLV_MUST_CHECK;

/* Loads the configuration that argument `first` names (a path or a shipped one), changed by the
 * section.key=value arguments behind it and by the options above. Several faults are all written to
 * stderr, one per line; `error` then points at them. Errors: CLV_E_USAGE without a name, and
 * those of clvi_config_load. The caller destroys *out with clvi_config_destroy. */
clv_status cli_load_config(const cli_args *args, size_t first, clvi_config **out,
                           clv_error *error) CLV_MUST_CHECK;

/* The same for a name that is no argument, changed by the arguments from index `from` on. */
clv_status cli_load_named_config(const cli_args *args, const char *name, size_t from,
                                 clvi_config **out, clv_error *error) CLV_MUST_CHECK;

/* The value of --max-time ("90s", "10m", "1h30m", "2.5h", or a number of seconds) as
 * train.max_seconds takes it. Errors: CLV_E_USAGE. */
enum { CLI_SECONDS_BYTES = 64 };
clv_status cli_parse_time(const char *text, char *out, clv_error *error) CLV_MUST_CHECK;

#endif
