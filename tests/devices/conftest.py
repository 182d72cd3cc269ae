from support.sound_card import sound_card as sound_card
