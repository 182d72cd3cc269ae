/*
 * Messages that carry audio, both ways. Included by the files of split/, and read by
 * build_ffi.py as iw_api.h is, whose rules hold here too.
 */
#ifndef IW_MESSAGE_H
#define IW_MESSAGE_H

#include "include/iw_api.h"

/* cffi: begin */

/* ---- audio out of JSON ------------------------------------------------------------------- */

enum { IW_SPLIT_MAX_PATHS = 12, IW_SPLIT_MAX_DEPTH = 6, IW_SPLIT_MAX_TEXT = 512 };

/* Where a message holds its audio, and what else is wanted of it. */
struct iw_split_plan;

/* What stands at a path. */
enum iw_split_kind {
    IW_SPLIT_ABSENT = 0,
    IW_SPLIT_TEXT = 1,    /* a string without escapes; the span is what is inside the quotes */
    IW_SPLIT_LITERAL = 2, /* a number, true, false or null; the span is all of it */
    IW_SPLIT_OTHER = 3    /* a string with escapes, an object or an array, quotes included */
};

struct iw_split_span {
    size_t offset_bytes; /* from the front of the message without the audio's text */
    size_t size_bytes;
    size_t kind; /* enum iw_split_kind */
};

/* Every member is a size_t, so that it may be read as an array of them. */
struct iw_split_result {
    size_t audio_bytes; /* written at dst; 0 where there is no audio */
    /* The audio's base64 text is the first; the others stand in the order of the paths. */
    struct iw_split_span spans[12];
};

/* The form of the audio that iw_split_message writes. */
enum iw_split_form {
    IW_SPLIT_BYTES = 0, /* as the message holds it */
    IW_SPLIT_F32 = 1    /* 16-bit samples made floats, as iw_pcm_f32_from_s16 does */
};

/*
 * Make a plan.
 *
 * paths       in, names of keys from the outermost object on, joined by '.', each path ended by
 *             a zero byte; the first leads to the audio
 * path_count  1 to IW_SPLIT_MAX_PATHS, each 1 to IW_SPLIT_MAX_DEPTH keys, all of them together
 *             at most IW_SPLIT_MAX_TEXT bytes with the zeros
 *
 * Returns NULL for paths outside these bounds and when there is no memory.
 */
struct iw_split_plan *iw_split_plan_create(const char *paths, size_t path_count);

/* How many paths it holds. */
size_t iw_split_plan_paths(const struct iw_split_plan *plan);

/* Free a plan; NULL is nothing. */
void iw_split_plan_destroy(struct iw_split_plan *plan);

/*
 * Walk one JSON message, decode the base64 at the audio's path and note what stands at the
 * others. A path is a path: a key of the same name elsewhere is passed over.
 *
 * dst        out, the audio; on failure its content is undefined
 * dst_bytes  the room at dst; src_bytes bytes always suffice for IW_SPLIT_BYTES, twice as many
 *            for IW_SPLIT_F32
 * result     out; undefined on failure
 * src        in, the message
 * form       enum iw_split_form
 *
 * IW_NOT_PLAIN: a key on the way or the audio holds an escape, a key on the way stands twice,
 * the audio is a string but not strict base64 or, made floats, not whole samples, or the
 * message is not the JSON of one object. Only what a path needs is checked; values passed over
 * may be bad.
 * IW_NO_ROOM, IW_BAD_ARGUMENT. Thread-safe.
 */
enum iw_status iw_split_message(uint8_t *dst, size_t dst_bytes, struct iw_split_result *result,
                                const struct iw_split_plan *plan, const uint8_t *src,
                                size_t src_bytes, int form);

/* Where iw_split_parts writes. */
struct iw_split_room {
    uint8_t *audio;
    size_t audio_bytes;
    uint8_t *text;
    size_t text_bytes;
};

/* Bytes of iw_split_parts that no JSON text holds as they are. */
enum { IW_SPLIT_BETWEEN = 1, IW_SPLIT_NOTHING = 2 };

/*
 * What iw_split_message does, written as two texts rather than as numbers: the audio; and, each
 * behind the other with IW_SPLIT_BETWEEN before it and a zero at the end, the message without
 * the audio's text, and for each further path what stands there. IW_SPLIT_NOTHING is for a path
 * where nothing stands, or what only a whole JSON reader can read; a last part holds the same
 * when there is such a path, and else nothing.
 *
 * room       out; for the audio as much as for iw_split_message always suffices, and two times
 *            src_bytes and 2 * IW_SPLIT_MAX_PATHS for the text
 *
 * Returns the bytes of the audio; IW_NO_AUDIO where no text stands at its path, with the text
 * written; or else what iw_split_message returns.
 */
ptrdiff_t iw_split_parts(const struct iw_split_room *room, const struct iw_split_plan *plan,
                         const uint8_t *src, size_t src_bytes, int form);

/* ---- audio into a frame ------------------------------------------------------------------ */

/* What iw_frame_text is given. */
enum iw_frame_form {
    IW_FRAME_BYTES = 0,         /* bytes that go as they are */
    IW_FRAME_S16_FROM_F32 = 1,  /* floats that go as 16-bit samples */
    IW_FRAME_ULAW_FROM_S16 = 2, /* 16-bit samples that go as mu-law */
    IW_FRAME_ALAW_FROM_S16 = 3  /* 16-bit samples that go as A-law */
};

/* The longest header of a masked frame. */
enum { IW_FRAME_HEADER_BYTES = 14 };

/*
 * Build one whole WebSocket text frame, masked: a text, the base64 of audio, and another text.
 * Source: RFC 6455 section 5.2.
 *
 * dst          out; on failure its content is undefined
 * dst_bytes    the room at dst; IW_FRAME_HEADER_BYTES + head + tail + 4/3 of the audio, and 4
 * head, tail   in, JSON text around the audio
 * audio        in, as `form` says; whole samples
 * mask         in, 4 bytes, the masking key; fresh and random for every frame (RFC 6455
 *              section 5.3)
 *
 * Returns the bytes of the frame, or IW_NO_ROOM, or IW_BAD_ARGUMENT for a form that does not
 * exist and for cut samples.
 */
ptrdiff_t iw_frame_text(uint8_t *dst, size_t dst_bytes, const uint8_t *head, size_t head_bytes,
                        const uint8_t *audio, size_t audio_bytes, int form, const uint8_t *tail,
                        size_t tail_bytes, const uint8_t *mask);

/*
 * Build one whole WebSocket frame, masked, of any kind.
 *
 * dst        out; on failure its content is undefined
 * dst_bytes  the room at dst; IW_FRAME_HEADER_BYTES and the payload
 * opcode     0 to 15
 * mask       as for iw_frame_text
 *
 * Returns the bytes of the frame, or IW_NO_ROOM.
 */
ptrdiff_t iw_frame_plain(uint8_t *dst, size_t dst_bytes, int opcode, const uint8_t *payload,
                         size_t payload_bytes, const uint8_t *mask);

/* cffi: end */

#endif
