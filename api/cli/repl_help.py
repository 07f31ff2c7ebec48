"""What ``/?`` prints at the interactive prompt."""

HELP = """\
Available Commands:
  /set            Set session variables
  /show           Show model information
  /load <model>   Load another model and start a new conversation
  /save <model>   Save this session as a new model
  /list [prefix]  List models
  /clear          Clear session context
  /bye            Exit
  /?, /help       Help for a command
  /? shortcuts    Help for keyboard shortcuts

Use \"\"\" to begin a multi-line message.
A model that can see or hear takes files by their paths: describe ./cat.png
"""
SET_HELP = """\
Available Commands:
  /set parameter <name> <value>  Set a parameter
  /set system <text>             Set system message
  /set format json               Let answers be JSON objects
  /set noformat                  Disable formatting
  /set think [level]             Let the model think first (high, medium, low, max)
  /set nothink                   Do not let the model think first
  /set history                   Enable history
  /set nohistory                 Disable history
  /set wordwrap                  Enable wordwrap
  /set nowordwrap                Disable wordwrap
  /set verbose                   Show timings after each answer
  /set quiet                     Do not show timings
"""
PARAMETER_HELP = """\
Available Parameters:
  /set parameter num_predict <int>          Most tokens of an answer (-1: no limit)
  /set parameter num_ctx <int>              Context length
  /set parameter num_keep <int>             Tokens at the beginning that a full context keeps
  /set parameter seed <int>                 Seed of the random numbers
  /set parameter temperature <float>        How freely tokens are drawn (0: always the likeliest)
  /set parameter top_k <int>                Draw from this many of the likeliest tokens
  /set parameter top_p <float>              Draw from the likeliest tokens that make up this probability
  /set parameter min_p <float>              Draw from tokens with this share of the likeliest one's probability
  /set parameter typical_p <float>          Draw from the most typical tokens that make up this probability
  /set parameter repeat_last_n <int>        How far back repetitions count (-1: the whole context)
  /set parameter repeat_penalty <float>     How strongly repetitions are avoided (1: not at all)
  /set parameter presence_penalty <float>   How strongly used tokens are avoided
  /set parameter frequency_penalty <float>  How strongly often used tokens are avoided
  /set parameter stop <text> <text> ...     Texts that end an answer
  /set parameter num_thread <int>           CPU threads
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
  Ctrl + g            Write the message in an editor (OLLAMA_EDITOR, VISUAL, EDITOR, or vi)

  Ctrl + l            Clear the screen
  Ctrl + c            Stop the model from responding
  Ctrl + d            Exit (/bye)
"""
