by nobody
