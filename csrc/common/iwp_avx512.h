/* Code that the AVX-512 kernels share. Included by *_avx512.c only. */
#ifndef IWP_AVX512_H
#define IWP_AVX512_H

#include <stddef.h>
#include <stdint.h>

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

/*
 * Return a mask of the first `count` lanes, or of all 64 lanes if `count` is larger than 64.
 * `count` is at most 255.
 */
IWP_AVX512 IWP_INLINE __mmask64 iwp_first(size_t count)
{
    return _bzhi_u64(~0ull, (unsigned)count);
}

#endif

#endif
