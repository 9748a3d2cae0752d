/** Which dmq this is. */
#ifndef DMQ_RUN_VERSION_H
#define DMQ_RUN_VERSION_H

/** "0.1.0". */
const char *dmq_version(void);

#endif
