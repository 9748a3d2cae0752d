/**
 * The number type of all values: float; double in the reference build (DMQ_REAL_DOUBLE), in which
 * identities are tested to 1e-9.
 */
#ifndef DMQ_BASE_REAL_H
#define DMQ_BASE_REAL_H

#ifdef DMQ_REAL_DOUBLE
typedef double dmq_real;
#else
typedef float dmq_real;
#endif

#endif
