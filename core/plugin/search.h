/* The folders in which plugins are looked for, and which files in them are trusted. */
#ifndef CLVI_SEARCH_H
#define CLVI_SEARCH_H

#include "base/files.h"

/* A folder of the search path. */
typedef struct clvi_folder {
    char *path;
    bool given; /* by the user; not the build's own fallback */
} clvi_folder;

typedef struct clvi_search {
    clvi_folder *folders;
    size_t count, capacity;
} clvi_search;

/* As clvi_plugins_create. Empty parts of a path are passed over (never the current directory).
 * `search` is zeroed before; clvi_search_fini also after a failure. */
clv_status clvi_search_init(clvi_search *search, const char *path, const char *fallback,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_search_fini(clvi_search *search);

/* Refuses a folder that everybody may write to, or that belongs to neither root nor the user, or
 * that lies in one in which everybody may rename what is there (CLV_E_PLUGIN with the reason),
 * unless it is the one that CONCLAVE_TRUST_PLUGINS names. */
clv_status clvi_search_check_folder(const char *folder, clv_error *error) CLV_MUST_CHECK;
/* Refuses a file that everybody may write to, or that belongs to neither root nor the user, unless
 * its folder is the one that CONCLAVE_TRUST_PLUGINS names. */
clv_status clvi_search_check_file(const char *path, clv_error *error) CLV_MUST_CHECK;

#endif
