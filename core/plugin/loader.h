/* One plugin file: opening, checking, closing. Where files are looked for: search.h. */
#ifndef CLVI_LOADER_H
#define CLVI_LOADER_H

#include "plugin/builtin.h"
#include "plugin/own_op.h"
#include "plugin/plugin_host.h"

/* An opened and checked plugin. One dlopen, one dlclose. */
typedef struct clvi_library {
    clvi_plugin plugin; /* path: as given to clvi_library_open */
    void *handle;
    clvi_own own;           /* the ops that it registered */
    uint64_t device, inode; /* which file this is, by whatever path; 0: linked in */
} clvi_library;

/* Opens a shared object and checks everything that it declares before any of it is used: whole ELF
 * file, symbol, the 16 frozen bytes, ABI version, mandatory fields, options, file name. Runs the
 * file's constructors: call clvi_search_check first for a file that was not named by the user.
 * Errors: CLV_E_PLUGIN naming path, field and the ABI versions of plugin and host; CLV_E_MEMORY.
 * Nothing stays open on failure. The caller closes *out. */
clv_status clvi_library_open(const char *path, clvi_library **out, clv_error *error) CLV_MUST_CHECK;
/* The same of a plugin that is linked in. */
clv_status clvi_library_open_builtin(const clvi_builtin *builtin, clvi_library **out,
                                     clv_error *error) CLV_MUST_CHECK;
/* CONCLAVE_KEEP_PLUGINS=1 leaves the file mapped. NULL allowed. */
void clvi_library_close(clvi_library *library);

/* The status of a plugin's function `function` that failed, or that went on after the host had
 * refused a call: one that exists; and never without a sentence in `cause`. */
clv_status clvi_plugin_explain(clv_status status, clv_error *cause, const char *function);

/* "expert" or "gate"; "plugin" for anything else. */
const char *clvi_kind_text(uint32_t kind);

/* Checks the table that a plugin's clv_plugin_v1 returned. `path` is for messages, and its last
 * part must be KIND_NAME.so. Errors as clvi_library_open. */
clv_status clvi_plugin_check(const char *path, const clv_plugin *table,
                             clv_error *error) CLV_MUST_CHECK;
/* The same as a host of another minor number does it, for tests. */
clv_status clvi_plugin_check_for(const char *path, const clv_plugin *table, uint16_t host_minor,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
