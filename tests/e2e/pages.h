/* Looking at a page that the command wrote. Every call fails the running cmocka test where it finds
 * something else than it should; none prints the whole page. */
#ifndef PAGES_H
#define PAGES_H

enum { PAGE_BYTES = 1 << 21 };
extern char page[PAGE_BYTES]; /* the last one */

/* Reads a page: well-formed as XML is, in need of nothing else, with numbers for numbers. */
void look(const char *path);
void has(const char *part);
void lacks(const char *part);
int times(const char *part); /* how often it stands there */

#endif
