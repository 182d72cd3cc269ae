/*
 * The flags and results of a PortAudio callback. Included by device/ only.
 *
 * Source: portaudio.h of PortAudio 19, PaStreamCallbackFlags and PaStreamCallbackResult. The
 * numbers are part of PortAudio's binary interface, so the build does not need portaudio.h.
 */
#ifndef IWP_STREAM_H
#define IWP_STREAM_H

#include "include/iw_device.h"

/* No device has more latency. A larger value of the stream clock is ignored as wrong. */
#define IWP_STREAM_LATENCY_MAX_S 10.0

enum {
    IWP_STREAM_CONTINUE = 0,         /* paContinue */
    IWP_STREAM_INPUT_OVERFLOW = 2,   /* paInputOverflow: audio was lost before this block */
    IWP_STREAM_OUTPUT_UNDERFLOW = 4, /* paOutputUnderflow: a gap was heard before this block */
    IWP_STREAM_CHANNELS_MAX = 32
};

#endif
