/* Time of the host. */
#ifndef CLVI_CLOCK_H
#define CLVI_CLOCK_H

/* Seconds of a clock that never goes back; the zero point is arbitrary. */
double clvi_now(void);

/* Seconds of processor time that all threads of the process have taken together. */
double clvi_processor_now(void);

#endif
