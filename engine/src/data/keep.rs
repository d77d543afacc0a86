//! General prompts with answers that a language model should keep, whatever else it is taught. Written for this
//! project; they are only scored, never trained on.
//!
//! After a run, the base and the tuned model are both scored on them, together with the held-out rows. A loss that
//! rises here is what the run made the model forget.

/// Prompt and answer. Short, in plain words, of many kinds: a run that forgets seldom forgets only one kind.
pub const KEEP_PROMPTS: [(&str, &str); 16] = [
    (
        "What is the capital of France?",
        "The capital of France is Paris.",
    ),
    (
        "Which planet is closest to the sun?",
        "Mercury is the planet closest to the sun.",
    ),
    (
        "At what temperature does water boil at sea level?",
        "Water boils at 100 degrees Celsius at sea level.",
    ),
    (
        "Who wrote the play Romeo and Juliet?",
        "Romeo and Juliet was written by William Shakespeare.",
    ),
    ("What is 7 + 5?", "7 + 5 = 12."),
    (
        "A book costs 4 dollars. What do 3 books cost?",
        "3 books cost 3 * 4 = 12 dollars.",
    ),
    ("Which is larger, 0.5 or 0.25?", "0.5 is larger than 0.25."),
    (
        "Write a Python function that adds two numbers.",
        "def add(a, b):\n    return a + b",
    ),
    (
        "Write an HTML link to example.com with the text Home.",
        "<a href=\"https://example.com\">Home</a>",
    ),
    (
        "Hello, how are you?",
        "Hello! I'm doing well, thank you. How can I help you today?",
    ),
    (
        "Thank you for your help!",
        "You're welcome! Let me know if you need anything else.",
    ),
    (
        "Translate to French: Good morning, my friend.",
        "Bonjour, mon ami.",
    ),
    (
        "Translate to Spanish: The house is red.",
        "La casa es roja.",
    ),
    (
        "Correct the sentence: She go to school every day.",
        "She goes to school every day.",
    ),
    (
        "Name three primary colors.",
        "The three primary colors are red, yellow and blue.",
    ),
    (
        "Finish the list: Monday, Tuesday, Wednesday,",
        "Thursday, Friday, Saturday, Sunday.",
    ),
];
