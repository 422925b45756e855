"""Networks in memory: loaded from folders, asked in conversations, listened to while they run."""
