/* What Debian's static BLAS and LAPACK need and the image does not have. replace_openblas.sh links them with this file.
 *
 * Error handlers: NumPy checks all arguments itself, so a call indicates a bug in NumPy. The originals would end the
 * process or need the Fortran runtime library. Like OpenBLAS's, these print the fault and return.
 *
 * Functions of the Fortran runtime library, libgfortran: the only three that these routines of LAPACK call.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void xerbla_(const char *routine, const int64_t *argument, size_t length) {
    fprintf(stderr, "%.*s: argument %ld is invalid\n", (int)length, routine, (long)*argument);
}

void cblas_xerbla(int64_t argument, const char *routine, const char *format, ...) {
    (void)format;
    fprintf(stderr, "%s: argument %ld is invalid\n", routine, (long)argument);
}

/* Fortran's a // b, cut off or padded with spaces to the length of the result. */
void _gfortran_concat_string(size_t length, char *result, size_t length_a, const char *a, size_t length_b, const char *b) {
    size_t from_a = length_a < length ? length_a : length;
    size_t from_b = length_b < length - from_a ? length_b : length - from_a;
    memmove(result, a, from_a);
    memmove(result + from_a, b, from_b);
    memset(result + from_a + from_b, ' ', length - from_a - from_b);
}

/* Fortran's base ** exponent, by repeated squaring. */
double _gfortran_pow_r8_i8(double base, int64_t exponent) {
    double power = 1;
    uint64_t rest = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;
    for (base = exponent < 0 ? 1 / base : base; rest; rest >>= 1, base *= base)
        if (rest & 1) power *= base;
    return power;
}

float _gfortran_pow_r4_i8(float base, int64_t exponent) {
    float power = 1;
    uint64_t rest = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;
    for (base = exponent < 0 ? 1 / base : base; rest; rest >>= 1, base *= base)
        if (rest & 1) power *= base;
    return power;
}
