/* What the files of the runtime share: the structs behind its opaque types, and the calls between
 * them. No other folder includes this, tests of the runtime apart. */
#ifndef CLVI_DEVICE_H
#define CLVI_DEVICE_H

#include "base/text.h"
#include "runtime/cl.h"
#include "runtime/gemm.h"
#include "runtime/runtime.h"

/* ---- What platform.c finds ---- */

typedef struct clvi_found_device {
    clvi_device_info info;
    cl_device_id id;
    cl_platform_id platform;
    const char *platform_version;
    const char *short_name; /* "PoCL pthread-…", for messages */
    unsigned vector;        /* CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT */
    bool rusticl;           /* a CPU behind it wants the GPU's forms of kernels all the same */
    bool software; /* llvmpipe, Oclgrind: chosen by `auto` only when nothing else is there */
    bool unified;  /* shares the host's memory */
    bool atomics;  /* of acquire and release between the work-groups of a kernel (OpenCL C 3.0) */
    bool pocl;     /* compiles when a kernel is first launched, and keeps what it compiled */
} clvi_found_device;

struct clvi_runtime {
    clvi_arena *arena; /* strings */
    clvi_found_device *found;
    size_t count, capacity;
    clvi_text notes;
    unsigned open_devices;
    bool used_clblast;
    bool said_clock; /* that time stamps are of no use */
};

/* The device that `select` names (runtime.h). Errors: CLV_E_DEVICE with the candidates. */
clv_status clvi_runtime_select(const clvi_runtime *runtime, const char *select,
                               const clvi_found_device **out, clv_error *error) CLV_MUST_CHECK;

/* ---- Parts of a device ---- */

typedef struct clvi_tuning_item {
    const char *key;
    int value;
} clvi_tuning_item;

/* Values of the key `form`: words in the file. */
enum { CLVI_FORM_WIDE, CLVI_FORM_TILED };

typedef struct clvi_tuning {
    const char *record; /* "cpu16", …: the file kernels/tuning/<record>.ini */
    clvi_tuning_item *items;
    size_t count, capacity;
    /* By clvi_gemm_class: whether a record of the user gives these products to CLBlast; 0: it does
     * not say, 1: native, 2: CLBlast. */
    unsigned char gemm[CLVI_GEMM_CLASSES];
    clvi_arena *arena; /* strings; borrowed */
    const char *path;  /* of the user's record in force; NULL: none */
    const char *date;  /* when that was measured */
    bool changed;      /* what it says differs from the shipped record */
    uint32_t digest;   /* of all that counts */
} clvi_tuning;

struct clvi_buf {
    clvi_device *device;
    clvi_buf *previous, *next; /* in device->buffers */
    cl_mem mem;
    size_t bytes;
    char *label;
    unsigned char *pages; /* PoCL: large pages were asked for here, in the host's memory */
    size_t pages_bytes;   /* 0: none were */
};

/* Host memory that uploads pass through. Slabs are filled one after the other and used again in the
 * same order: `last`, the newest write out of a slab, is finished when all of them are. */
enum { CLVI_STAGING_SLABS = 16 };
typedef struct clvi_slab {
    unsigned char *data;
    size_t capacity, used;
    cl_event last; /* NULL: nothing under way */
} clvi_slab;
typedef struct clvi_staging {
    clvi_slab slabs[CLVI_STAGING_SLABS];
    unsigned count, current;
} clvi_staging;

typedef struct clvi_program clvi_program;
typedef struct clvi_kernel clvi_kernel;

/* A program's text that came from outside; in the device's arena. */
typedef struct clvi_added_source {
    struct clvi_added_source *next;
    const char *name, *text;
} clvi_added_source;

typedef struct clvi_programs {
    clvi_program *first; /* list */
    clvi_added_source *added;
    clvi_kernel **table;    /* by hash of (program, kernel, options), open addressing */
    size_t count, capacity; /* capacity: a power of two */
    /* By the addresses of the three strings: their contents are compared, not hashed. */
    clvi_kernel *recent[256];
    const char *folder; /* of the kernel cache; NULL: none */
    bool bitcode;       /* it keeps bitcode (PoCL) instead of binaries */
    bool unmade;        /* but no more is made: what is not there is built from source */
    bool complained;    /* about the cache, once per device */
} clvi_programs;

typedef enum clvi_clock { CLVI_CLOCK_UNKNOWN, CLVI_CLOCK_DEVICE, CLVI_CLOCK_HOST } clvi_clock;
typedef struct clvi_timer {
    clvi_clock clock;
    cl_event begin;       /* CLVI_CLOCK_DEVICE */
    double begin_seconds; /* CLVI_CLOCK_HOST */
    bool running;
} clvi_timer;

typedef struct clvi_profile clvi_profile;
typedef struct clvi_chain clvi_chain;

/* A launch that may be under way. */
typedef struct clvi_watched {
    cl_event event;
    const char *program, *kernel;
    bool *reported; /* it was said already that it takes long */
} clvi_watched;

/* The newest launches of a GPU, see watch.c. As many as may be under way. */
enum { CLVI_WATCHED = 64 };
typedef struct clvi_watch {
    bool on;               /* only GPUs are watched */
    double wait_seconds;   /* a wait that takes longer fails */
    double launch_seconds; /* a launch that takes longer is warned of */
    clvi_watched ring[CLVI_WATCHED];
    unsigned first, count;
    bool clblast_reported;
} clvi_watch;

struct clvi_device {
    clvi_runtime *runtime;
    const clvi_found_device *found;
    clvi_arena *arena; /* strings and records that live as long as the device */
    cl_context context;
    cl_command_queue queue;
    bool fast_math, sync, winograd;
    uint32_t clblast;              /* bits 1 << clvi_gemm_class: whose products CLBlast computes */
    clvi_gemm_shapes *gemm_shapes; /* where products that run are noted; NULL: nowhere */
    const char *banner;
    clv_error poison; /* status CLV_OK: healthy */
    bool hangs;       /* a wait took too long: nothing is waited for any more */
    clvi_device_counters counters;
    clvi_tuning tuning;
    clvi_buf *buffers;
    clvi_staging staging;
    clvi_programs programs;
    clvi_timer timer;
    clvi_profile *profile; /* NULL: never asked for */
    clvi_watch watch;
    clvi_chain *chain;                /* NULL: no launches were put together */
    const clvi_kernel *last_kernel;   /* newest launch, for messages */
    struct clvi_compiling *compiling; /* NULL: nothing was compiled */
    struct clvi_rehearsal *rehearsal; /* NULL: there was none */
    struct clvi_pages *pages;         /* NULL: nobody said what is used soon */
    bool recompute;                   /* [device] recompute = on */
    bool rehearsing;                  /* launches are noted only */
    const char *helper;               /* NULL: none */
    /* At most 2·window commands are under way; marks[0] is the older one. */
    cl_event marks[2];
    unsigned window, since_mark;
};

/* ---- queue.c ---- */

/* The cause when the device is poisoned, else CLV_OK. First call of everything that enqueues. */
clv_status clvi_device_check(const clvi_device *device, clv_error *error) CLV_MUST_CHECK;
/* Reports that `call` gave `code` while doing `what` ("kernel a:b", "upload to x"); poisons the
 * device when the code means that its queue is of no use any more. */
clv_status clvi_queue_fail(clvi_device *device, cl_int code, const char *call, const char *what,
                           clv_error *error);
/* Before a command is enqueued: enqueues what was collected (chain.h). clvi_device_check's errors,
 * and those of launches. */
clv_status clvi_queue_enter(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
/* After each command enqueued: lets the device begin, and waits when too many are under way. */
clv_status clvi_queue_advance(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
/* Waits for one event; does not release it. `what` is for the message. */
clv_status clvi_queue_wait_event(clvi_device *device, cl_event event, const char *what,
                                 clv_error *error) CLV_MUST_CHECK;
/* Waits until the event's command is finished or failed, also on a device that is poisoned. False:
 * it may be under way still, and what it reads and writes must stay. */
bool clvi_queue_settle(clvi_device *device, cl_event event) CLV_MUST_CHECK;
/* clvi_wait that is not counted. */
clv_status clvi_queue_wait(clvi_device *device, const char *what, clv_error *error) CLV_MUST_CHECK;

/* ---- Others ---- */

/* tuning.c: the record that answers for a device: the shipped one of its class (or the one of
 * CONCLAVE_TUNING), changed by `given` (a record's text) or, where that is NULL, by the user's own
 * in the cache folder. One of these that is broken is warned of and left out, and one that was
 * measured with something else is left out with a note. Strings lie in `arena`; the caller frees
 * out->items. Errors: CLV_E_CONFIG naming file and line, of a shipped record and of `given`. */
clv_status clvi_tuning_load(const clvi_found_device *found, const char *given, clvi_arena *arena,
                            clvi_tuning *out, clv_error *error) CLV_MUST_CHECK;
/* Classes of products (bits) that `gemm = auto` gives to CLBlast; otherwise: those of which the
 * record says nothing. */
uint32_t clvi_tuning_clblast(const clvi_tuning *tuning, bool otherwise);
/* Whether the device is of one of the classes of GPUs, whatever record it is given. */
bool clvi_tuning_gpu_class(const clvi_found_device *found);

/* gemm_class.c: notes a product that is about to run, where clvi_gemm_note asked for it. */
clv_status clvi_gemm_count(clvi_device *device, const clvi_gemm *gemm,
                           clv_error *error) CLV_MUST_CHECK;

/* pages.c */
/* Before the buffer's memory goes: waits only while a step of this very buffer is being taken. */
void clvi_pages_forget(const clvi_buf *buf);
/* Bytes that the thread has touched since the device was opened. For tests. */
size_t clvi_pages_touched(const clvi_device *device);
/* Ends the thread that gives pages. */
void clvi_pages_fini(clvi_device *device);

/* transfer.c: frees what no upload reads from any more. False: some of it is in use by a device
 * that hangs, and stays. */
bool clvi_staging_fini(clvi_device *device) CLV_MUST_CHECK;

/* program.c */
clv_status clvi_programs_init(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
void clvi_programs_fini(clvi_device *device);

/* profile.c */
void clvi_profile_fini(clvi_device *device);
/* Where the event of a launch about to be enqueued belongs, recorded with it; NULL when recording
 * is off. Used before the next call of any of these. */
clv_status clvi_profile_slot(clvi_device *device, const clvi_kernel *kernel, cl_event **out,
                             clv_error *error) CLV_MUST_CHECK;

/* watch.c */
void clvi_watch_init(clvi_device *device);
void clvi_watch_fini(clvi_device *device);
/* After a launch, with device->watch.on: takes over its event. Errors: as of waits. */
clv_status clvi_watch_add(clvi_device *device, const clvi_watched *launch,
                          clv_error *error) CLV_MUST_CHECK;
/* Until the event is finished or failed; false: it took too long. True at once where devices are
 * not watched. */
bool clvi_watch_wait(clvi_device *device, cl_event event);
/* Whether the event's command is finished or failed, now. */
bool clvi_watch_is_over(cl_event event);
/* The oldest launch that is not finished, NULL: none is known. */
const clvi_watched *clvi_watch_hanging(const clvi_device *device);

/* timer.c */
/* Probes once whether the driver's time stamps can be believed: device->timer.clock. */
clv_status clvi_timer_find_clock(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
void clvi_timer_fini(clvi_device *device);
/* Monotonic seconds of the host. */
double clvi_host_seconds(void);

#endif
