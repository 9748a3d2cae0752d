/**
 * The file in which rank 0 says where it listens. For the files of this folder alone.
 */
#ifndef DMQ_DIST_MEET_FILE_H
#define DMQ_DIST_MEET_FILE_H

#include "dist/meet.h"

enum { DMQ_MEET_SECRET = 40 };

typedef struct dmq_meet_address {
    char host[256];
    int port;
    char job[64];
    char secret[DMQ_MEET_SECRET]; /**< "" where there is no file */
} dmq_meet_address;

/** FOLDER/comm-address, with the name of the job behind it where there is one. The caller frees. */
dmq_status dmq_meet_file_name(char **out, const char *folder, const dmq_meet *meet);

/** All but the port: a new secret, the name that others know this machine by. EIO. */
dmq_status dmq_meet_file_fill(dmq_meet_address *at, const dmq_meet *meet);

/** Whole or not at all, and for this user alone. EIO. */
dmq_status dmq_meet_file_write(const char *path, const dmq_meet_address *at);

/** 1: a whole file of this job; a rank on rank 0's machine connects within it. Else why not, in a few words. */
int dmq_meet_file_read(dmq_meet_address *at, const char *path, const dmq_meet *meet, char *why,
                       size_t room);

#endif
