/**
 * The memory of the machine and of this process, in bytes. Where the system does not tell, 0.
 */
#ifndef DMQ_BASE_MACHINE_H
#define DMQ_BASE_MACHINE_H

/** All that the machine has. */
double dmq_machine_memory(void);

/** What programs can still get without others being pushed out. */
double dmq_machine_memory_free(void);

/** Most that the process held at once since the last dmq_process_peak_begin, or since its start. */
double dmq_process_peak(void);

/** Measure anew from now on. Where the system refuses, the peak stays that of the whole process. */
void dmq_process_peak_begin(void);

#endif
