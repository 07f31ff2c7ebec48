"""What ``/?`` prints at the interactive prompt."""

HELP = """\
Available Commands:
  /set            Set session variables
  /show           Show model information
  /load <model>   Load another model and start a new conversation
  /list [prefix]  List models
  /clear          Clear session context
  /bye            Exit
  /?, /help       Help for a command
  /? shortcuts    Help for keyboard shortcuts

Use \"\"\" to begin a multi-line message.
"""
SET_HELP = """\
Available Commands:
  /set parameter <name> <value>  Set a parameter
  /set system <text>             Set system message
  /set format json               Let answers be JSON objects
  /set noformat                  Disable formatting
  /set history                   Enable history
  /set nohistory                 Disable history
  /set wordwrap                  Enable wordwrap
  /set nowordwrap                Disable wordwrap
  /set verbose                   Show timings after each answer
  /set quiet                     Do not show timings
"""
SHOW_HELP = """\
Available Commands:
  /show info         Show details for this model
  /show license      Show model license
  /show modelfile    Show Modelfile for this model
  /show parameters   Show parameters for this model
  /show system       Show system message
  /show template     Show prompt template
"""
SHORTCUTS = """\
Available keyboard shortcuts:
  Ctrl + a            Move to the beginning of the line (Home)
  Ctrl + e            Move to the end of the line (End)
   Alt + b            Move back (left) one word
   Alt + f            Move forward (right) one word
  Ctrl + k            Delete the text after the cursor
  Ctrl + u            Delete the text before the cursor
  Ctrl + w            Delete the word before the cursor
  Ctrl + j            Insert a new line

  Ctrl + l            Clear the screen
  Ctrl + c            Stop the model from responding
  Ctrl + d            Exit (/bye)
"""
