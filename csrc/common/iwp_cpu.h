/* The levels that the CPU and the operating system support. Included by iwp_kernels.c only. */
#ifndef IWP_CPU_H
#define IWP_CPU_H

/*
 * Return 1 if the instructions of `level` (enum iw_level) can be executed here: the CPU has
 * them and the operating system saves their registers. Each call queries the CPU, which is
 * slow, so callers should keep the result.
 */
int iwp_cpu_runs(int level);

#endif
