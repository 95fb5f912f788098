/* Time of the host. */
#ifndef CLVI_CLOCK_H
#define CLVI_CLOCK_H

/* Seconds of a clock that never goes back; the zero point is arbitrary. */
double clvi_now(void);

#endif
