/* A program that leaks, or not, in a build with the address sanitizer. Arguments: the module with a
 * variable of each thread's own, or "-"; "leak" or "clean". */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 200, LEAKED_BYTES = 12345 };

static pthread_barrier_t all_have_one;
static void (*touch)(void);

static void *wait_for_ever(void *nothing)
{
    touch();
    pthread_barrier_wait(&all_have_one);
    pause();
    return nothing;
}

/* Many blocks for such variables, of which some lie 16 bytes behind the beginning of a page. */
static int start_threads(const char *module)
{
    void *library = dlopen(module, RTLD_NOW);
    if (library == NULL)
        return -1;
    *(void **)&touch = dlsym(library, "touch");
    if (touch == NULL || pthread_barrier_init(&all_have_one, NULL, THREADS + 1) != 0)
        return -1;
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
            return -1;
    }
    pthread_barrier_wait(&all_have_one);
    return 0;
}

static void *leak_some(void *nothing)
{
    void *volatile lost = malloc(LEAKED_BYTES);
    lost = NULL;
    return lost == NULL ? nothing : lost;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc != 3 || (strcmp(argv[1], "-") != 0 && start_threads(argv[1]) != 0)) {
        fputs("usage: leaks MODULE|- leak|clean\n", stderr);
        return 2;
    }
    /* In a thread that ends: nothing of the pointer stays on a stack. */
    if (strcmp(argv[2], "leak") == 0 &&
        (pthread_create(&thread, NULL, leak_some, NULL) != 0 || pthread_join(thread, NULL) != 0))
        return 2;
    return 0;
}
