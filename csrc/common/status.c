/* The text of each status. */
#include "include/iw_api.h"

const char *iw_status_text(int status)
{
    switch (status) {
    case IW_OK: return "success";
    case IW_BAD_ARGUMENT: return "an argument is out of its range";
    case IW_NO_MEMORY: return "out of memory";
    case IW_NO_ROOM: return "the output buffer is too small";
    case IW_UNSUPPORTED: return "not supported by this CPU or build";
    case IW_STALE: return "the item has ended, was cleared or is unknown";
    case IW_BAD_LENGTH: return "the text ends inside a group of four characters";
    case IW_BAD_CHARACTER: return "a character is outside the base64 alphabet";
    case IW_BAD_PADDING: return "the padding is not at the end of the text";
    case IW_BAD_BITS: return "the last character has bits set that belong to no byte";
    case IW_NO_RIFF: return "not a WAV file";
    case IW_NO_DATA: return "a WAV header without a data chunk";
    case IW_NOT_PLAIN: return "the message needs a complete JSON parser";
    case IW_NO_AUDIO: return "the message has no audio";
    default: return "an unknown status";
    }
}
