"""Speak the answers of a chat while the model writes them. The model may call a function."""

from collections.abc import Iterator

from inworld_sync import ChatMessage, Inworld, NullSpeaker, tool


@tool
def tide(harbor: str) -> str:
    """Return the time of the next high tide in a harbor."""
    return f"18:40 in {harbor}"


def answer(iw: Inworld, messages: list[ChatMessage]) -> Iterator[str]:
    """Yield the text of the answer while it arrives. Then add the answer to the conversation."""
    while True:
        with iw.llm.stream(messages, tools=[tide]) as stream:
            yield from stream
            reply = stream.result()
        if not reply.tool_calls:
            messages.append(reply.message)
            return
        messages += iw.llm.run_tools(reply, [tide])


messages = [ChatMessage("system", "Answer in one short sentence.")]

# Use Speaker(24000) to hear the answers.
with Inworld() as iw, NullSpeaker(24000) as speaker:
    for question in ("Count to five.", "When is the next high tide in Bergen?"):
        print("you:", question)
        messages.append(ChatMessage("user", question))
        playback = iw.tts.speak(
            answer(iw, messages), speaker=speaker, on_word=lambda word: print(" ", word.text)
        )
        playback.wait()  # playback.interrupt() stops the speech
        print("answer:", messages[-1].content)
