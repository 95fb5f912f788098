/* Pictures that were named on the command line. */
#ifndef CONCLAVE_PICTURES_H
#define CONCLAVE_PICTURES_H

#include "command.h"

/* Zero-initialise; cli_pictures_fini frees. */
typedef struct cli_pictures {
    clvi_arena *arena;
    const char **paths;
    size_t count, capacity;
} cli_pictures;

/* The arguments from index `from` on: files as they are, of folders all pictures in them and below,
 * in natural order, hidden names passed over. Errors: CLV_E_USAGE where there is no such argument,
 * CLV_E_DATA for a folder without pictures. */
clv_status cli_pictures_list(const cli_args *args, size_t from, cli_pictures *out,
                             clv_error *error) CLV_MUST_CHECK;
void cli_pictures_fini(cli_pictures *pictures);

#endif
