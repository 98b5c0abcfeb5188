"""Texts of the synthetic speech: sentences of this project's own, and commands in the grammar of GRID."""

import numpy as np

SENTENCES = (
    "Good morning, my name is Paula and I work for a small bookshop by the river.",
    "We measured the room twice, but the blue cupboard would not fit behind the door.",
    "Please bring both of the maps, a warm jumper, and maybe a bottle of apple juice.",
    "The bus from Birmingham was more than fifty minutes late because of the heavy rain.",
    "I believe that everybody who helps us should have a vote on how the money is spent.",
    "Shall we meet at the museum at half past three, or would five o'clock be better?",
    "My mother makes the most beautiful plum jam; my father never puts it on his bread.",
    "Over the past four months we have built a new bridge, two schools and a public pool.",
    "Thank you for watching, and thank you for everything that you do for our community.",
    "No, that is not what I meant. What I meant was that we ought to wait a while.",
    "Every April the farmers move their sheep up to the higher fields above the village.",
    "He whispered something about a measure of vision, then vanished through the garage.",
    "Why would you buy a boat if you have always been afraid of deep water?",
    "The mayor promised a brighter future for families, veterans and young people.",
    "A thin layer of ice covered the pond, though the weather was getting warmer.",
    "She sells very cheap shoes, and she is usually happy to show you the finest pairs.",
    "Hello? Yes, I can hear you now. Could you move a little closer to the microphone?",
    "Now is the time to work together, to put people first, and to make this country stronger.",
    "Peter packed a paper bag with pepper, parsley, and a piece of purple beetroot.",
    "Bob bought a big brown bear for the baby, but the baby preferred the empty box.",
    "Mum may make some more marmalade on Monday morning, and Emma might come along.",
    "They thought that this weather was rather smooth, although the other path was rough.",
    "Five vivid violets have survived five very rough and windy evenings in our valley.",
    "Which watch was wound when we went west? We were quite worried for a week or two.",
    "George and Jane just changed the strange orange jar on the edge of the large bridge.",
    "The yellow yacht used to belong to a young European who knew few people here.",
    "Our hospitals need more nurses, our teachers need more time, and both need more money.",
    "I enjoy the noise of boiling oil; it is a joy to point out the best soil for royal crops.",
    "How about a loud shout in the middle of the house? Our hound found a mouse outside.",
    "Go slowly home; the road is closed and the old boat is rolling over in the snow.",
    "Look, the cook took a good book and put it on the wooden shelf by the wool.",
    "Two new blue spoons and a few smooth balloons were all we could use in June.",
    "Ask aunt Martha for half a glass of water from the calm dark part of the harbour.",
    "All autumn we walked along the lawn and talked about the cost of law and order.",
    "Early birds heard her purse burst; thirty-three workers turned to learn the word.",
    "Ten men went to bed; seven fed the red hen, and the rest left by the western exit.",
    "Sit still, Bill, it is only a little drill in this big building, and it will finish quickly.",
    "We see three green trees each week, and he feels free to leave the key beneath the seat.",
    "Late today they may take the same train eight times and wait in vain for the rain.",
    "My mind is quite fine; I might try to find the right kind of light by nine tonight.",
    "Cats and rats ran after a fat black man who had planned to catch that lamb.",
    "Some of us love the sun above the hut; come up, it is just lunch and nothing much.",
    "In a moment I will tell you about jobs, about taxes, and about the price of bread.",
    "The committee agreed to improve the proposal before the members voted on Thursday.",
    "Zoe's zebra is busy buzzing at the zoo, because bees and fleas always please his nose.",
    "Hugh had a whole heap of heavy hammers hidden behind the house on Harrow Hill.",
    "Nothing can stop a hungry kitten from licking a thick cake in the king's long kitchen.",
    "Let me be clear: people all over America are ready for change, and so am I.",
    "If the lamp blinks, wait for one second, press the button, and keep it pressed.",
    "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve.",
    "Turn left at the lights, go past the library, and stop opposite the swimming pool.",
    "What a wonderful surprise! I never imagined that you would come all this way.",
    "Mm, maybe. Perhaps. Probably not before Friday, but I will phone you if I am able.",
    "The problem with umbrellas is simple: somebody always borrows them in September.",
)  # fmt: skip

_COMMAND = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("ABCDEFGHIJKLMNOPQRSTUVXYZ"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)


def random_sentence(rng: np.random.Generator, command_share: float = 0.3) -> str:
    """One of `SENTENCES`, or a random command such as "bin blue at F two now" (Cooke et al. 2006)."""
    if rng.random() < command_share:
        return " ".join(words[rng.integers(len(words))] for words in _COMMAND)
    return SENTENCES[rng.integers(len(SENTENCES))]
