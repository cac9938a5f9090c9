#!/bin/sh
# Replace OpenBLAS and its Fortran libraries in NumPy's wheel, 28 MB, by Debian's reference BLAS and LAPACK, 1.4 MB.
#
# Usage: replace_openblas.sh FOLDER, which has NumPy installed. `Dockerfile.lambda` runs it, with the files of the packages
# gcc, libblas64-dev and liblapack64-dev.
#
# NumPy's modules load OpenBLAS when they are imported. The function uses linear algebra only for the 3 x 3 matrices of
# color profiles, so the speed of the library does not matter. The new library has the file name of OpenBLAS, and all
# functions that NumPy's modules need, under OpenBLAS's names, so NumPy works as usual.
# tests/infra/image/test_image_content.py compares the results.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
library=$(cd numpy.libs && ls libscipy_openblas64_*.so)

# The modules call dgemm_ of OpenBLAS with 64-bit integers as scipy_dgemm_64_. Debian's libraries for 64-bit integers name
# it dgemm_. If NumPy changes this scheme, there are no names, and if Debian lacks a function, --no-undefined fails.
symbols=$(nm --dynamic --undefined-only numpy/_core/_multiarray_umath.*.so numpy/linalg/*.so)
names=$(echo "$symbols" | sed -n 's/.* U scipy_\(.*\)64_$/\1/p' | sort -u)
if [ -z "$names" ]; then
    echo "replace_openblas.sh: NumPy needs no function scipy_*64_; compare its modules with this script" >&2
    exit 1
fi
aliases=""
for name in $names; do
    aliases="$aliases -Wl,--undefined=$name,--defsym=scipy_${name}64_=$name"
done

# Only these functions are visible outside the library; all others are local or left out.
visible=$(mktemp)
echo "{ global: scipy_*; local: *; };" >"$visible"
rm numpy.libs/libscipy_openblas64_* numpy.libs/libgfortran-* numpy.libs/libquadmath-*
# shellcheck disable=SC2086  # one word per alias
gcc -O2 -fPIC -shared -s -nodefaultlibs -o "numpy.libs/$library" "$here/blas.c" $aliases \
    -Wl,-soname="$library",--version-script="$visible",--gc-sections,--no-undefined \
    -l:liblapack64_pic.a -l:blas64/libblas64.a -lm -lc
rm "$visible"
