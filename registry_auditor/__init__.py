"""Registry Auditor: what did the fine-tuning change?"""
