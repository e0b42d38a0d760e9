"""The JSON samples of the protocol reference, word for word."""

PING = """\
{
  "type": "Ping",
  "data": {
    "timestamp": 1234567890
  }
}
"""

PONG = """\
{
  "type": "Pong",
  "data": {
    "timestamp": 1234567890
  }
}
"""

SUBSCRIBE = """\
{
  "type": "Subscribe",
  "data": {
    "topics": ["notifications", "chat.general", "updates.*"]
  }
}
"""

SUBSCRIBED = """\
{
  "type": "Status",
  "data": {
    "status": "subscribed",
    "details": {
      "topics": ["notifications", "chat.general", "updates.*"],
      "active_subscriptions": 3
    }
  }
}
"""

UNSUBSCRIBE = """\
{
  "type": "Unsubscribe",
  "data": {
    "topics": ["chat.general"]
  }
}
"""

UNSUBSCRIBED = """\
{
  "type": "Status",
  "data": {
    "status": "unsubscribed",
    "details": {
      "topics": ["chat.general"],
      "active_subscriptions": 2
    }
  }
}
"""

BROADCAST = """\
{
  "type": "Broadcast",
  "data": {
    "topic": "chat.general",
    "payload": {
      "message": "Hello everyone!",
      "sender": "user123",
      "metadata": {
        "mood": "happy"
      }
    }
  },
  "id": "msg_123456"
}
"""

BROADCAST_ACK = """\
{
  "type": "Ack",
  "data": {
    "message_id": "msg_123456",
    "status": "delivered",
    "recipients": 42
  }
}
"""

DIRECT_MESSAGE = """\
{
  "type": "DirectMessage",
  "data": {
    "target_user": "user456",
    "payload": {
      "message": "Private message",
      "attachments": []
    }
  },
  "id": "dm_789012"
}
"""

DIRECT_MESSAGE_ACK = """\
{
  "type": "Ack",
  "data": {
    "message_id": "dm_789012",
    "status": "delivered",
    "delivered_to": ["conn_abc123", "conn_def456"]
  }
}
"""

OFFLINE = """\
{
  "type": "Error",
  "data": {
    "code": 404,
    "message": "User user456 not found or not connected",
    "details": {
      "message_id": "dm_789012",
      "queued": true
    }
  }
}
"""

WELCOME = """\
{
  "type": "Status",
  "data": {
    "status": "connected",
    "details": {
      "connection_id": "550e8400-e29b-41d4-a716-446655440000",
      "server_time": 1234567890,
      "protocol_version": "1.0",
      "features": ["broadcast", "direct_message", "presence", "history"]
    }
  }
}
"""

BROADCAST_DELIVERY = """\
{
  "type": "Broadcast",
  "data": {
    "topic": "chat.general",
    "payload": {
      "message": "Hello everyone!",
      "sender": "user123",
      "metadata": {
        "mood": "happy"
      }
    },
    "metadata": {
      "sent_at": 1234567890,
      "message_id": "broadcast_123456"
    }
  }
}
"""

DIRECT_MESSAGE_DELIVERY = """\
{
  "type": "DirectMessage",
  "data": {
    "from_user": "user123",
    "payload": {
      "message": "Private message",
      "attachments": []
    },
    "metadata": {
      "sent_at": 1234567890,
      "message_id": "dm_123456"
    }
  }
}
"""

NOTIFICATION = """\
{
  "type": "Notification",
  "data": {
    "level": "info",
    "title": "Maintenance Notice",
    "message": "System will undergo maintenance in 1 hour",
    "actions": [
      {
        "label": "Learn More",
        "url": "https://status.example.com"
      }
    ]
  }
}
"""

PRESENCE = """\
{
  "type": "Presence",
  "data": {
    "user_id": "user789",
    "status": "online",
    "last_seen": 1234567890,
    "metadata": {
      "device": "web",
      "location": "New York"
    }
  }
}
"""

ERROR = """\
{
  "type": "Error",
  "data": {
    "code": 400,
    "message": "Human-readable error message",
    "details": {
      "field": "additional",
      "context": "information"
    }
  }
}
"""

TOKEN_EXPIRING = """\
{
  "type": "AuthStatus",
  "data": {
    "status": "token_expiring",
    "expires_at": 1234567890,
    "refresh_required": true
  }
}
"""

BINARY_RECEIVED = """\
{
  "type": "Status",
  "data": {
    "status": "binary_received",
    "details": {
      "size": 1024,
      "type": "file_transfer",
      "checksum": "sha256:..."
    }
  }
}
"""

CUSTOM = """\
{
  "type": "X-CustomAction",
  "data": {
    "action": "special_operation",
    "parameters": {}
  }
}
"""

WITH_METADATA = """\
{
  "type": "Broadcast",
  "data": { ... },
  "metadata": {
    "priority": "high",
    "ttl": 3600,
    "encryption": "aes256",
    "compression": "gzip"
  }
}
"""
