/* Macros for the differences between compilers. Included by each file that needs a macro. */
#ifndef IWP_COMPILER_H
#define IWP_COMPILER_H

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "samples are handled as little-endian words; no big-endian machine is supported"
#endif

#if defined(__GNUC__) || defined(__clang__)
/* Compiles one function for an instruction set. No file needs compiler flags of its own. */
#define IWP_TARGET(set) __attribute__((target(set)))
#define IWP_INLINE static inline __attribute__((always_inline, unused))
#define IWP_LIKELY(condition) __builtin_expect(!!(condition), 1)
#else
#define IWP_INLINE static __forceinline
#define IWP_LIKELY(condition) (condition)
#endif

/*
 * Select the kernels that are compiled. MSVC has no target attribute, so it builds only the
 * scalar kernels. iwp_cpu_runs() must check each instruction set that is named here.
 */
#if defined(IWP_TARGET) && defined(__x86_64__)
#define IWP_HAVE_X86 1
#define IWP_AVX2 IWP_TARGET("avx2,bmi,bmi2")
#define IWP_AVX512 IWP_TARGET("avx2,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi")
#else
#define IWP_HAVE_X86 0
#endif
#if defined(IWP_TARGET) && defined(__aarch64__)
#define IWP_HAVE_NEON 1
#else
#define IWP_HAVE_NEON 0
#endif

#endif
