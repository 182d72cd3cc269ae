/*
 * The atomic operations that the core uses. Included by playout/, device/ and iwp_kernels.h.
 *
 * MSVC has C11 atomics only behind an experimental option, so MSVC builds use interlocked
 * intrinsics. These intrinsics are full barriers, which are stronger than the acquire and
 * release below.
 */
#ifndef IWP_ATOMIC_H
#define IWP_ATOMIC_H

#include <stdint.h>

#include "common/iwp_compiler.h"

#if defined(_MSC_VER) && !defined(__clang__)

#include <intrin.h>

struct iwp_word {
    volatile int64_t value;
};

struct iwp_pointer {
    void *volatile value;
};

IWP_INLINE uint64_t iwp_load(const struct iwp_word *word)
{
    return (uint64_t)_InterlockedCompareExchange64((volatile int64_t *)&word->value, 0, 0);
}

IWP_INLINE void iwp_store(struct iwp_word *word, uint64_t value)
{
    (void)_InterlockedExchange64(&word->value, (int64_t)value);
}

IWP_INLINE int iwp_swap_if(struct iwp_word *word, uint64_t *expected, uint64_t wanted)
{
    int64_t found =
        _InterlockedCompareExchange64(&word->value, (int64_t)wanted, (int64_t)*expected);
    int done = found == (int64_t)*expected;

    *expected = (uint64_t)found;
    return done;
}

IWP_INLINE void *iwp_load_pointer(const struct iwp_pointer *pointer)
{
    return _InterlockedCompareExchangePointer((void *volatile *)&pointer->value, 0, 0);
}

IWP_INLINE void iwp_store_pointer(struct iwp_pointer *pointer, void *value)
{
    (void)_InterlockedExchangePointer(&pointer->value, value);
}

#else

#include <stdatomic.h>

struct iwp_word {
    _Atomic uint64_t value;
};

struct iwp_pointer {
    void *_Atomic value;
};

/* If this call reads the value of an iwp_store, all writes before the iwp_store are visible. */
IWP_INLINE uint64_t iwp_load(const struct iwp_word *word)
{
    return atomic_load_explicit(&word->value, memory_order_acquire);
}

IWP_INLINE void iwp_store(struct iwp_word *word, uint64_t value)
{
    atomic_store_explicit(&word->value, value, memory_order_release);
}

/*
 * If the word equals `*expected`, store `wanted` and return 1. Otherwise put the word into
 * `*expected` and return 0.
 */
IWP_INLINE int iwp_swap_if(struct iwp_word *word, uint64_t *expected, uint64_t wanted)
{
    return atomic_compare_exchange_strong_explicit(&word->value, expected, wanted,
                                                   memory_order_acq_rel, memory_order_acquire);
}

IWP_INLINE void *iwp_load_pointer(const struct iwp_pointer *pointer)
{
    return atomic_load_explicit(&pointer->value, memory_order_acquire);
}

IWP_INLINE void iwp_store_pointer(struct iwp_pointer *pointer, void *value)
{
    atomic_store_explicit(&pointer->value, value, memory_order_release);
}

#endif

#endif
