#pragma once

/// Whether instructions of PTX give what the ISA says of them, in cases on their edges; an exit status.
int checkInstructions();
