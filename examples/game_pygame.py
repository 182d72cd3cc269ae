"""A face in a pygame window speaks and moves its mouth. Any key interrupts the speech."""

import pygame

from inworld_sync import Inworld
from inworld_sync.games import VoiceLine, prepare
from inworld_sync.games.pygame import VoiceChannel

TEXT = "I am a face in a window. While I speak, the game draws sixty frames per second."

pygame.init()
screen = pygame.display.set_mode((320, 240))
font = pygame.font.Font(None, 22)
clock = pygame.time.Clock()

with Inworld() as iw, VoiceLine(iw, TEXT) as voice:
    prepare(iw)
    voice.start()
    channel = VoiceChannel(voice)
    while not voice.is_over:
        dt = clock.tick(60) / 1000
        for event in pygame.event.get():
            if event.type in (pygame.QUIT, pygame.KEYDOWN):
                voice.cancel()
        voice.update(dt)
        channel.update()

        screen.fill("midnightblue")
        pygame.draw.circle(screen, "peachpuff", (160, 100), 80)
        height = 4 + round(40 * voice.mouth.openness)
        pygame.draw.ellipse(screen, "darkred", (130, 130 - height // 2, 60, height))
        words = font.render(voice.word.text if voice.word else "", True, "white")
        screen.blit(words, words.get_rect(center=(160, 215)))
        pygame.display.flip()
    channel.close()
    print(f"{voice.state}: {voice.heard_text} ({channel.gaps} gaps)")
pygame.quit()
