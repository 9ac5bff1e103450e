"""What may be done, by topic. Doors (admin, commands, tasks, views) call these and nothing below."""
