/* The files that `conclave explain` writes into its folder: of a picture BASE.png, and of each of
 * its experts BASE-EXPERT.png and BASE-EXPERT-maps.png. BASE is the picture's name without folder
 * and ending, '/' in an expert's name becomes '-', and where two files had the same name, the
 * second BASE or EXPERT gets -2. */
#ifndef CONCLAVE_EXPLAIN_FILES_H
#define CONCLAVE_EXPLAIN_FILES_H

#include "pictures.h"

#include "config/config.h"

/* Zero-initialise; cli_explain_files_fini frees. */
typedef struct cli_explain_files {
    const char *folder; /* borrowed */
    clvi_arena *arena;
    const char **bases;   /* [pictures] */
    const char **endings; /* [ending_count] "", and of each expert "-EXPERT", "-EXPERT-maps" */
    size_t ending_count;
} cli_explain_files;

/* Finds the names. The folder outlives them. Errors: CLV_E_MEMORY. */
clv_status cli_explain_files_name(const clvi_config *config, const char *folder,
                                  const cli_pictures *pictures, cli_explain_files *out,
                                  clv_error *error) CLV_MUST_CHECK;
void cli_explain_files_fini(cli_explain_files *files);
/* Refuses to write over any of the pictures, by whatever path; maps: the files of feature maps are
 * written too. Errors: CLV_E_USAGE naming the file, CLV_E_MEMORY. */
clv_status cli_explain_files_check(const cli_explain_files *files, const cli_pictures *pictures,
                                   bool maps, clv_error *error) CLV_MUST_CHECK;

/* One of them. */
typedef struct cli_explain_file {
    size_t picture;
    size_t expert; /* 0: all in a row; else 1 + its index among the leaves of the configuration */
    bool maps;     /* the expert's feature maps */
} cli_explain_file;
/* Its path; the caller frees. Errors: CLV_E_MEMORY. */
clv_status cli_explain_files_path(const cli_explain_files *files, const cli_explain_file *file,
                                  char **out, clv_error *error) CLV_MUST_CHECK;
/* That of the page. The same. */
clv_status cli_explain_files_page(const cli_explain_files *files, char **out,
                                  clv_error *error) CLV_MUST_CHECK;

#endif
