/*
 * Extracts audio from received messages, and builds messages with audio. Included by the files
 * of split/, and read by build_ffi.py. The rules of iw_api.h hold here too.
 */
#ifndef IW_MESSAGE_H
#define IW_MESSAGE_H

#include "include/iw_api.h"

/* cffi: begin */

/* ---- audio out of JSON ------------------------------------------------------------------- */

enum { IW_SPLIT_MAX_PATHS = 12, IW_SPLIT_MAX_DEPTH = 6, IW_SPLIT_MAX_TEXT = 512 };

/* The path of the audio in a message, and the paths of the other values to extract. */
struct iw_split_plan;

/* The kind of value that was found at a path. */
enum iw_split_kind {
    IW_SPLIT_ABSENT = 0,
    IW_SPLIT_TEXT = 1,    /* a string without escapes; the span is the text without quotes */
    IW_SPLIT_LITERAL = 2, /* a number, true, false or null; the span is the whole value */
    IW_SPLIT_OTHER = 3    /* an object, array or escaped string; the span is the whole value */
};

struct iw_split_span {
    size_t offset_bytes; /* in the message from which the text of the audio was removed */
    size_t size_bytes;
    size_t kind; /* enum iw_split_kind */
};

/*
 * The first span is the base64 text of the audio. The other spans have the order of the paths.
 */
struct iw_split_result {
    struct iw_split_span spans[12];
};

/* The form of the audio that iw_split_message writes. */
enum iw_split_form {
    IW_SPLIT_BYTES = 0, /* the bytes of the message */
    IW_SPLIT_F32 = 1    /* 16-bit samples converted to floats by iw_pcm_f32_from_s16 */
};

/*
 * Create a plan.
 *
 * paths       in, the paths. A path is the names of the keys from the outermost object on,
 *             joined by '.' and ended by a zero byte. The first path is the path of the audio
 * path_count  1 to IW_SPLIT_MAX_PATHS. A path has 1 to IW_SPLIT_MAX_DEPTH keys, and all paths
 *             with their zeros have at most IW_SPLIT_MAX_TEXT bytes
 *
 * Returns NULL if a path is outside these bounds or memory could not be allocated.
 */
struct iw_split_plan *iw_split_plan_create(const char *paths, size_t path_count);

/* Return the count of paths. */
size_t iw_split_plan_paths(const struct iw_split_plan *plan);

/* Free a plan. NULL is allowed. */
void iw_split_plan_destroy(struct iw_split_plan *plan);

/*
 * Read one JSON message, decode the base64 text at the path of the audio, and find the values
 * at the other paths. Only the whole path matches: the function skips a key of the same name in
 * another object.
 *
 * dst        out, the audio; undefined on failure
 * dst_bytes  the size of dst. A size of src_bytes is always enough for IW_SPLIT_BYTES, and
 *            2 * src_bytes is always enough for IW_SPLIT_F32
 * result     out, or NULL; undefined on failure
 * src        in, the message
 * form       enum iw_split_form
 *
 * Returns the count of bytes written to dst, which is 0 if the message has no audio. On
 * failure, returns IW_NO_ROOM, IW_BAD_ARGUMENT, or IW_NOT_PLAIN in one of these cases:
 * - a key on a path, or the audio, contains an escape
 * - a key on a path occurs twice
 * - the audio is a string but not strict base64, or its last sample is cut (IW_SPLIT_F32)
 * - the message is not the JSON text of one object
 *
 * Only the syntax that the paths need is checked. A value that is skipped may be invalid.
 * Thread-safe.
 */
ptrdiff_t iw_split_message(uint8_t *dst, size_t dst_bytes, struct iw_split_result *result,
                           const struct iw_split_plan *plan, const uint8_t *src,
                           size_t src_bytes, int form);

/* The two buffers of iw_split_parts. */
struct iw_split_room {
    uint8_t *audio;
    size_t audio_bytes;
    uint8_t *text;
    size_t text_bytes;
};

/*
 * Marks in the text of iw_split_parts. IW_SPLIT_BETWEEN separates the parts, and
 * IW_SPLIT_NOTHING is a part without a value. Both are control bytes, which JSON must escape.
 */
enum { IW_SPLIT_BETWEEN = 1, IW_SPLIT_NOTHING = 2 };

/*
 * Call iw_split_message, and write the values as one text instead of as spans. The text has
 * these parts:
 * - the message without the text of the audio
 * - for each further path, the value at the path. The part is IW_SPLIT_NOTHING if there is no
 *   value, or if the value needs a complete JSON parser
 * - a last part, which is IW_SPLIT_NOTHING if any value is IW_SPLIT_NOTHING, and empty
 *   otherwise
 *
 * The parts are separated by IW_SPLIT_BETWEEN. A zero byte ends the text.
 *
 * room       out; the audio needs the same size as for iw_split_message, and the text needs at
 *            most 2 * src_bytes + 2 * IW_SPLIT_MAX_PATHS
 *
 * Returns the size of the audio in bytes, or the status of iw_split_message. If there is no
 * string at the path of the audio, returns IW_NO_AUDIO and still writes the text.
 */
ptrdiff_t iw_split_parts(const struct iw_split_room *room, const struct iw_split_plan *plan,
                         const uint8_t *src, size_t src_bytes, int form);

/* ---- audio into a frame ------------------------------------------------------------------ */

/* The conversion of the audio by iw_frame_text. */
enum iw_frame_form {
    IW_FRAME_BYTES = 0,         /* no conversion */
    IW_FRAME_S16_FROM_F32 = 1,  /* floats to 16-bit samples */
    IW_FRAME_ULAW_FROM_S16 = 2, /* 16-bit samples to mu-law */
    IW_FRAME_ALAW_FROM_S16 = 3  /* 16-bit samples to A-law */
};

/* The longest header of a masked frame. */
enum { IW_FRAME_HEADER_BYTES = 14 };

/*
 * Build one masked WebSocket text frame (RFC 6455 section 5.2). Its payload is `head`, the
 * audio as base64, and `tail`.
 *
 * dst          out; undefined on failure
 * dst_bytes    the size of dst. The sum of IW_FRAME_HEADER_BYTES, head_bytes, tail_bytes, 4/3
 *              of the size of the converted audio, and 4 is always enough
 * head, tail   in, the JSON text before and after the audio
 * audio        in, whole samples in the format that `form` converts
 * mask         in, the masking key of 4 bytes. Every frame needs a new random key (RFC 6455
 *              section 5.3)
 *
 * Returns the size of the frame in bytes, or IW_NO_ROOM, or IW_BAD_ARGUMENT if the form is
 * unknown or the last sample is cut.
 */
ptrdiff_t iw_frame_text(uint8_t *dst, size_t dst_bytes, const uint8_t *head, size_t head_bytes,
                        const uint8_t *audio, size_t audio_bytes, int form, const uint8_t *tail,
                        size_t tail_bytes, const uint8_t *mask);

/*
 * Build one masked WebSocket frame with any opcode.
 *
 * dst        out; undefined on failure
 * dst_bytes  the size of dst. The size of the payload + IW_FRAME_HEADER_BYTES is always enough
 * opcode     0 to 15
 * mask       as for iw_frame_text
 *
 * Returns the size of the frame in bytes, or IW_NO_ROOM.
 */
ptrdiff_t iw_frame_plain(uint8_t *dst, size_t dst_bytes, int opcode, const uint8_t *payload,
                         size_t payload_bytes, const uint8_t *mask);

/* cffi: end */

#endif
