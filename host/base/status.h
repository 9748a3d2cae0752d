/**
 * What a call reports: a code for the program, a message for the person.
 *
 * The message is written once, where the failure is first seen, by dmq_fail(); everyone above passes
 * the code on with DMQ_TRY. A caller's mistake is an assert, the world's mistake is a status.
 */
#ifndef DMQ_BASE_STATUS_H
#define DMQ_BASE_STATUS_H

typedef enum dmq_status {
    DMQ_OK = 0,
    DMQ_EINVAL,   /**< a user's choice that cannot be                     (exit 78) */
    DMQ_EUSAGE,   /**< a command line that cannot be read                 (exit 64) */
    DMQ_EDATA,    /**< wrong data: hash, shape, NaN, truncated file       (exit 65) */
    DMQ_ENOINPUT, /**< a file that is not there                           (exit 66) */
    DMQ_ESHAPE,   /**< shapes that do not fit each other                  (exit 65) */
    DMQ_ENOMEM,   /**< out of memory                                      (exit 71) */
    DMQ_EEXIST,   /**< output exists and differs                          (exit 73) */
    DMQ_EIO,      /**< read or write error, disk full                     (exit 74) */
    DMQ_ENOTSUP,  /**< this build or device lacks it                      (exit 69) */
    DMQ_EDEVICE,  /**< the device refused or failed                       (exit 69) */
    DMQ_EDIVERGE, /**< numbers became infinite or NaN                     (exit 65) */
    DMQ_ESTOP,    /**< stopped in order on a signal, checkpoint written   (exit 75) */
    DMQ_EPEER,    /**< another rank failed                                (exit 76) */
    DMQ_EEXPECT   /**< done, but an expectation of the config is not met  (exit 10) */
} dmq_status;

/**
 * Write the message of this thread's failure; the value is the code. A macro, so that a compiler and an
 * analyzer see in the caller that a failure is never DMQ_OK.
 *
 * The first line says what is wrong with both sides named ("fake_quant: act3 has 5 scales, x has 2
 * channels"); further lines may start with "  at " (place) and "  hint: " (way out).
 */
#define dmq_fail(code, ...) (dmq_message_write(__VA_ARGS__), (dmq_status)(code))

/**
 * Append one line to the message of this thread's failure; the value is the code. A line that begins with
 * "  at " goes before the hints.
 */
#define dmq_fail_note(code, ...) (dmq_message_note(__VA_ARGS__), (dmq_status)(code))

/** What dmq_fail and dmq_fail_note write; for them alone. */
void dmq_message_write(const char *format, ...) __attribute__((format(printf, 1, 2)));
void dmq_message_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The message of this thread's last failure; "" if there was none. Valid until the next dmq_fail. */
const char *dmq_message(void);

/** Take over the message of another thread, as a pool of workers does for its caller. */
void dmq_message_set(const char *text);

/** The documented exit code of a status. */
int dmq_exit_code(dmq_status code);

/** st and done are always these two local names, so that the macro hides nothing. */
#define DMQ_TRY(call)     \
    do {                  \
        st = (call);      \
        if (st != DMQ_OK) \
            goto done;    \
    } while (0)

#endif
