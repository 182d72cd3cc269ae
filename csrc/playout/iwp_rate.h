/*
 * The rate at which time scaling may change the delay. Included by the delay estimator, which
 * simulates time scaling, and by the consumer, which performs time scaling. The simulation
 * needs the same rule.
 */
#ifndef IWP_RATE_H
#define IWP_RATE_H

#include "common/iwp_compiler.h"

/*
 * Return the fraction of time that may be added or removed. `error_ms` is the delay minus the
 * target delay.
 */
IWP_INLINE double iwp_stretch_rate(double error_ms)
{
    double rate = 0.06 + error_ms / 1500.0;

    return rate < 0.22 ? rate : 0.22;
}

#endif
