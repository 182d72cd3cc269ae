/*
 * Everything that Python may call. Included by every source file, and read by build_ffi.py: the
 * text between the two marks is given to cffi as it stands, so it holds plain declarations only.
 *
 * Rules for all functions here:
 * - Samples cross as bytes, `uint8_t *`, little-endian, at any alignment.
 * - Sizes are `size_t` and their names tell the unit.
 * - A result is an `enum iw_status`, or a `ptrdiff_t` that is a count when it is zero or more and
 *   an `enum iw_status` when it is negative.
 * - Input and output must not overlap unless the function says that they may.
 * - Nothing blocks, prints, calls Python or touches errno; nothing allocates but `create`.
 * - Functions without an object are thread-safe. An object belongs to one thread at a time unless
 *   its section says more.
 */
#ifndef IW_API_H
#define IW_API_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- version ------------------------------------------------------------------------------ */

/*
 * Raised with every change of this header. Python compares it at import, so that a stale
 * compiled module is named and not run.
 */
#define IW_ABI_VERSION 1

/* ---- results ------------------------------------------------------------------------------ */

enum iw_status {
    IW_OK = 0,
    IW_BAD_ARGUMENT = -1, /* an argument that the function excludes */
    IW_NO_MEMORY = -2,    /* the allocator refused */
    IW_NO_ROOM = -3,      /* the output buffer is too small */
    IW_UNSUPPORTED = -4   /* this CPU or this build cannot do it */
};

/* A few words for a status; never NULL, a constant, also for numbers that are no status. */
const char *iw_status_text(int status);

/* ---- instruction sets --------------------------------------------------------------------- */

/* Which kernels run. Every level gives the same bits. */
enum iw_level {
    IW_LEVEL_SCALAR = 0, /* plain C, everywhere */
    IW_LEVEL_AVX2 = 1,   /* x86: AVX2 */
    IW_LEVEL_AVX512 = 2, /* x86: AVX-512 F, BW, VL, VBMI and BMI2 */
    IW_LEVEL_NEON = 3,   /* AArch64, where it is always there */
    IW_LEVEL_COUNT = 4
};

/* The name of a level in lower case, "scalar"; NULL when there is no such level. */
const char *iw_level_name(int level);

/* 1 when this build has the level and this CPU and operating system can run it, else 0. */
int iw_level_supported(int level);

/* The best level that is supported. */
int iw_level_best(void);

/* The level in use; the best one until another is forced. */
int iw_level_active(void);

/*
 * Use `level` from now on, in all threads.
 * IW_UNSUPPORTED changes nothing: the CPU cannot run it, or there is no such level.
 */
int iw_level_force(int level);

/* cffi: end */

#endif
