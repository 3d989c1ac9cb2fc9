"""The message-bus port over AMQP 0-9-1: txamqp with a faster path for messages. Nothing else imports txamqp."""
