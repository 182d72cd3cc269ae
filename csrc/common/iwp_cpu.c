/* Reads the features of the CPU and the registers that the operating system saves. */
#include "common/iwp_cpu.h"

#include <stdint.h>

#include "common/iwp_compiler.h"
#include "include/iw_api.h"

#if IWP_HAVE_X86

#include <cpuid.h>

/* Registers that the operating system saves, bits of XCR0. Source: Intel SDM volume 1, 13.3. */
#define XCR0_SSE_AVX 0x06u
#define XCR0_AVX512 0xe0u

/* CPUID leaf 1, ECX. Source for both leaves: Intel SDM volume 2, CPUID. */
#define LEAF1_OSXSAVE (1u << 27)
#define LEAF1_AVX (1u << 28)

/* CPUID leaf 7, EBX and ECX. */
#define LEAF7_EBX_BMI1 (1u << 3)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_BMI2 (1u << 8)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_AVX512BW (1u << 30)
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_ECX_AVX512VBMI (1u << 1)

static uint32_t saved_registers(void)
{
    uint32_t low, high;

    /* The intrinsic would need -mxsave for the whole file. */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has_all(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

int iwp_cpu_runs(int level)
{
    const uint32_t avx2 = LEAF7_EBX_AVX2 | LEAF7_EBX_BMI1 | LEAF7_EBX_BMI2;
    const uint32_t avx512 = LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL;
    uint32_t eax, ebx, ecx, edx, saved;

    if (level == IW_LEVEL_SCALAR)
        return 1;
    if (level != IW_LEVEL_AVX2 && level != IW_LEVEL_AVX512)
        return 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has_all(ecx, LEAF1_OSXSAVE | LEAF1_AVX))
        return 0;
    saved = saved_registers();
    if (!has_all(saved, XCR0_SSE_AVX) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return 0;
    if (level == IW_LEVEL_AVX2)
        return has_all(ebx, avx2);
    return has_all(saved, XCR0_AVX512) && has_all(ebx, avx2 | avx512) &&
           has_all(ecx, LEAF7_ECX_AVX512VBMI);
}

#else

int iwp_cpu_runs(int level)
{
    return level == IW_LEVEL_SCALAR || (IWP_HAVE_NEON && level == IW_LEVEL_NEON);
}

#endif
