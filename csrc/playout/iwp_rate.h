/*
 * How fast delay may be shed or built. Included by the delay estimator, which foresees the
 * regulation, and by the regulation itself: both must follow one rule.
 */
#ifndef IWP_RATE_H
#define IWP_RATE_H

#include "common/iwp_compiler.h"

/* The part of time that may be stretched away when the delay is `error_ms` from its target. */
IWP_INLINE double iwp_stretch_rate(double error_ms)
{
    double rate = 0.06 + error_ms / 1500.0;

    return rate < 0.22 ? rate : 0.22;
}

#endif
