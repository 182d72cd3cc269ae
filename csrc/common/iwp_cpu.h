/* What the CPU and the operating system can run. Included by iwp_kernels.c alone. */
#ifndef IWP_CPU_H
#define IWP_CPU_H

/*
 * 1 when the instructions of `level` (enum iw_level) can be executed here: the CPU has them and
 * the operating system saves their registers. Reads the CPU at every call, so keep the answer.
 */
int iwp_cpu_runs(int level);

#endif
