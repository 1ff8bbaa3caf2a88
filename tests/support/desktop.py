"""Show notifications as a desktop does: be the notification service of the session's bus.

Prints `ready`, then a line of JSON for each: the program, the summary and the body.

Source: Desktop Notifications Specification, "D-BUS Protocol".
"""

import json
from itertools import count

from jeepney import HeaderFields, MessageType, message_bus, new_method_return
from jeepney.io.blocking import open_dbus_connection

with open_dbus_connection() as bus:
    bus.send_and_get_reply(message_bus.RequestName("org.freedesktop.Notifications"))
    print("ready", flush=True)
    for number in count(1):
        message = bus.receive()
        while message.header.message_type is not MessageType.method_call:
            message = bus.receive()
        match message.header.fields[HeaderFields.member]:
            case "Notify":
                program, _, _, summary, body, *_ = message.body
                print(json.dumps([program, summary, body]), flush=True)
                bus.send(new_method_return(message, "u", (number,)))
            case "GetServerInformation":
                about = ("desktop", "tests", "1", "1.2")
                bus.send(new_method_return(message, "ssss", about))
            case "GetCapabilities":
                bus.send(new_method_return(message, "as", (["body", "body-markup"],)))
