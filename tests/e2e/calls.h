/* Calling the command as a user does, in the working directory, and pictures to do it with. Every
 * call fails the running cmocka test where it finds something else than it should. */
#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

enum { CLASSES = 4, CALL_BYTES = 1 << 17 };
extern const char *const class_names[CLASSES];
extern char call_out[CALL_BYTES], call_err[CALL_BYTES]; /* what the last call printed */

/* Takes the command's path from main's arguments. Returns the exit status for main where there is
 * none, or no OpenCL device (77); otherwise 0. */
int calls_begin(int argc, char **argv);

/* Makes an empty folder and goes there, for a group's set-up; goes away and removes it, for its
 * tear-down. Both return 0, or -1. */
extern char *home;
int calls_enter(void **state);
int calls_leave(void **state);
void put(const char *name, const char *text); /* a file there */

/* Runs "conclave ARGUMENTS" and fills call_out and call_err; returns the exit code. */
int conclave(const char *arguments);
/* The same, and the exit code must be `status`. */
void expect(const char *arguments, int status);
/* A failure: one sentence on stderr, which holds `part`. */
void expect_refusal(const char *arguments, int status, const char *part);

void contains(const char *text, const char *part);
int count(const char *text, const char *part); /* how often it holds `part` */
bool exists(const char *path);
void read_whole(const char *path, char *text, size_t size);
json_t *parse(const char *text); /* a new reference */
double number(const json_t *object, const char *key);
const char *word(const json_t *object, const char *key);

/* Draws `count` pictures of 16x16 of each class into `folder`, one folder per class. */
void draw_set(const char *folder, int count);

#endif
