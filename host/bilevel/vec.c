#include "bilevel/vec.h"

#include "backend/cpu_math.h"

/* Chains of a dot product: enough to fill the widest registers several times. */
enum { CHAINS = 32 };

DMQ_CLONES
double dmq_vec_dot(const dmq_real *x, const dmq_real *y, size_t n)
{
    const size_t whole = n / CHAINS * CHAINS;
    double part[CHAINS] = { 0 }, sum = 0;

    for (size_t i = 0; i < whole; i += CHAINS)
        for (size_t j = 0; j < CHAINS; j++)
            part[j] += (double)x[i + j] * (double)y[i + j];
    for (size_t i = whole; i < n; i++)
        part[0] += (double)x[i] * (double)y[i];
    for (int j = 0; j < CHAINS; j++)
        sum += part[j];
    return sum;
}

double dmq_vec_norm(const dmq_real *x, size_t n)
{
    return sqrt(dmq_vec_dot(x, x, n));
}

DMQ_CLONES
void dmq_vec_axpby(dmq_real *y, double beta, const dmq_real *x, double alpha, size_t n)
{
    const dmq_real a = (dmq_real)alpha, b = (dmq_real)beta;

    if (beta == 0)
        DMQ_EACH(size_t i = 0; i < n; i++)
    y[i] = a * x[i];
    else if (beta == 1) DMQ_EACH(size_t i = 0; i < n; i++) y[i] += a * x[i];
    else DMQ_EACH(size_t i = 0; i < n; i++) y[i] = a * x[i] + b * y[i];
}
